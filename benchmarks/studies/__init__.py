"""Studies that decided something and are done; README.md has the questions and answers."""
