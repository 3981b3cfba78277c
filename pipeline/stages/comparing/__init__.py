"""What compare is made of: evaluations read back, whether they can be compared, tables, pictures, and summary runs."""
