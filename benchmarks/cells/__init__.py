"""What a cell of the coverage is: one model type, one task, one method, and the checks that it has to stand."""
