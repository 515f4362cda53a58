"""What is taken away - the report, the codes."""
