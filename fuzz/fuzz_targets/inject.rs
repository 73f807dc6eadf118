//! See `oci_ipc_hook::fuzzing::inject`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| oci_ipc_hook::fuzzing::inject(input));
