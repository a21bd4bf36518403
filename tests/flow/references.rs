//! Names of steps, and which of them can have run where they are read.
