"""What to write instead: for names of other libraries, and for arguments that a call does not take."""
