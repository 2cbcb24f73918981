"""Other tools' formats, a folder each."""
