//! Nothing: the interpreter is `main.c`, and this package only pins the sources that it is compiled with.
