//! See `bench_peers::static_axum`; with the allocator that `cohost` has.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    bench_peers::static_axum::main()
}
