"""Other runtimes' formats: what each file must look like, how it is written, and the gates before it gets its name."""
