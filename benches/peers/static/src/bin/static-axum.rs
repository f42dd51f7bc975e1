//! See `bench_peers::static_axum`; with the system's allocator.

fn main() -> std::process::ExitCode {
    bench_peers::static_axum::main()
}
