"""The reports' families: each module that defines `VARIANTS` is one."""
