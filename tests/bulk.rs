//! Behaviour 37: a body may have any size, and the memory it takes does not depend on it.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream;
use http::Method;
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use sha2::{Digest as _, Sha256};

use crate::{
    both_models,
    host::{Host, Model, Setup, status_of},
};

const GIGABYTE: u64 = 1 << 30;
const PIECE: usize = 256 * 1024;
/// Far below the body, far above what the allocator may keep.
const MOST_GROWTH_KB: u64 = 64 * 1024;

both_models! {
    async fn a_gigabyte_goes_up(model: Model) {
        let host = Setup::sample(model).application("max_request_body = \"none\"").start().await;
        let memory = Memory::of(&host, model).await;
        let hash = Arc::new(Mutex::new(Sha256::new()));
        let hashed = Arc::clone(&hash);
        let pieces = (0..GIGABYTE / PIECE as u64).map(move |n| {
            let mut piece = vec![n as u8; PIECE];
            piece[..8].copy_from_slice(&n.to_be_bytes());
            hashed.lock().unwrap().update(&piece);
            Ok::<_, std::io::Error>(Frame::data(Bytes::from(piece)))
        });
        let client = host.client();
        let request = client.request(Method::POST, "/upload").body(StreamBody::new(stream::iter(pieces)));
        let answer = client.send(request.unwrap()).await.unwrap().json();
        assert_eq!(answer["size"], GIGABYTE);
        let hash = hash.lock().unwrap().clone().finalize();
        assert_eq!(answer["sha256"], hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        memory.check(&host);
    }

    async fn a_gigabyte_comes_down(model: Model) {
        let host = Setup::sample(model).start().await;
        let memory = Memory::of(&host, model).await;
        let client = host.client();
        let request = client.request(Method::GET, "/bytes/1073741824").body(Empty::<Bytes>::new()).unwrap();
        let mut answer = client.begin(request).await.unwrap();
        assert_eq!(answer.headers()["content-length"], "1073741824");
        let (mut count, expected) = (0, vec![b'x'; 4 * 1024 * 1024]);
        while let Some(frame) = answer.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            assert!(*piece == expected[..piece.len()]);
            count += piece.len() as u64;
        }
        assert_eq!(count, GIGABYTE);
        memory.check(&host);
    }
}

/// The most memory that the host, and the instance, have had so far.
struct Memory(Vec<(u32, u64)>);

impl Memory {
    async fn of(host: &Host, model: Model) -> Self {
        // Started by then, and warm.
        host.client().post("/upload", vec![0; 1_000_000]).await;
        host.get("/bytes/1000000").await;
        let mut processes = vec![host.worker()];
        if model == Model::OutOfProcess {
            let is_instance = |event: &serde_json::Value| {
                event["message"] == "application started" && event["pid"].is_u64()
            };
            processes.push(host.log.wait(is_instance).await["pid"].as_u64().unwrap() as u32);
        }
        Self(processes.into_iter().map(|pid| (pid, status_of(pid, "VmHWM"))).collect())
    }

    fn check(self, host: &Host) {
        for (pid, before) in self.0 {
            // The system counts in batches, and may come out a little lower than before.
            let growth = status_of(pid, "VmHWM").saturating_sub(before);
            let who = if pid == host.worker() { "the host" } else { "the instance" };
            assert!(growth < MOST_GROWTH_KB, "{who} grew by {growth} kB");
        }
    }
}
