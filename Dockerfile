# variantlab for whoever has no Python. It works in the folder that is mounted at /lab, and writes nowhere else:
#   docker build --tag variantlab .
#   docker run --rm --volume "$PWD:/lab" variantlab search --model mlp_ws_al
#   docker run --rm --volume "$PWD:/lab" --network host variantlab ui
# The folder must be writable for user 1000, or for the one who is given:
#   docker build --build-arg USER_ID="$(id -u)"

FROM python:3.11.7-slim AS wheel
RUN useradd --create-home --uid 1000 builder
USER 1000
WORKDIR /home/builder/variantlab
ENV PATH=/home/builder/.local/bin:$PATH
RUN pip install --no-cache-dir --user build==1.6.1
COPY --chown=1000 . .
RUN python -m build --wheel

FROM python:3.11.7-slim
ARG USER_ID=1000
RUN useradd --create-home --uid "$USER_ID" lab && mkdir /lab && chown lab /lab
USER $USER_ID
ENV PATH=/home/lab/venv/bin:$PATH VARIANTLAB_CACHE=/lab/variantlab-cache
COPY requirements.txt /home/lab/
RUN python -m venv /home/lab/venv && pip install --no-cache-dir --requirement /home/lab/requirements.txt
COPY --from=wheel /home/builder/variantlab/dist/*.whl /home/lab/
RUN pip install --no-cache-dir --no-deps /home/lab/variantlab-*.whl
WORKDIR /lab
ENTRYPOINT ["variantlab"]
CMD ["--help"]
