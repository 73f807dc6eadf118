//! The layer against the running kernel, in namespaces of their own.

mod objects;
mod sysctls;
mod users;
