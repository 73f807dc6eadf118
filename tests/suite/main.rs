//! The integration suite: the built binary against real namespaces of the running kernel. Works as any user; what needs
//! root says so when it is left out.

mod hostile;
mod namespace;
mod support;
