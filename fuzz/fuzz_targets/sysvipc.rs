//! See `oci_ipc_hook::fuzzing::sysvipc`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| oci_ipc_hook::fuzzing::sysvipc(input));
