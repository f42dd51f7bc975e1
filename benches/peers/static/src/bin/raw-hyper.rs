//! See `bench_peers::raw_hyper`; with the system's allocator.

fn main() -> std::process::ExitCode {
    bench_peers::raw_hyper::main()
}
