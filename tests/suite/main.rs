//! The integration suite: the built binary against real namespaces of the running kernel. Works as any user; what needs
//! root says so when it is left out.

#![allow(clippy::expect_used, clippy::unwrap_used, unreachable_pub)]

mod annotations;
mod attacks;
mod check;
mod convert;
mod docs;
mod doctor;
mod failures;
mod ftok;
mod golden;
mod hostile;
mod inject;
mod inspect;
mod killed;
mod log;
mod memory;
mod namespace;
mod owners;
mod planted;
mod policy;
mod presets;
mod readme;
mod records;
mod rights;
mod shared;
mod support;
mod trust;
mod words;
