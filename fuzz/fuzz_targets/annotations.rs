//! See `oci_ipc_hook::fuzzing::annotations`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| oci_ipc_hook::fuzzing::annotations(input));
