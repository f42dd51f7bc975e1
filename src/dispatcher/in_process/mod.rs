//! Applications in this process: libraries, loaded and called over the C ABI.

pub mod preflight;
