//! An authority that speaks ACME: `pebble`, as Debian has it, which looks whether names are ours as others do. Names
//! are told to it by the test.

use std::{
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
};

use tokio::{net::UdpSocket, task::AbortHandle};

use super::{Issuer, PATIENCE, Secure, Setup};

/// An authority. Dropping it ends it.
pub struct Pebble {
    child: Child,
    /// Where its protocol is spoken.
    pub directory: String,
    management: SocketAddr,
    issuer: Issuer,
    folder: tempfile::TempDir,
    names: AbortHandle,
}

/// What is particular about an authority.
#[derive(Clone, Debug)]
pub struct Habits {
    /// The port at which it looks whether names are ours.
    pub port: u16,
    /// How many seconds its certificates are valid.
    pub valid: u32,
    /// Whether it wants to know its customers.
    pub customers_only: bool,
}

impl Habits {
    pub fn at(port: u16) -> Self {
        Self { port, valid: 90 * 24 * 60 * 60, customers_only: false }
    }
}

/// A customer that an authority knows: what it calls the key, and the key.
pub const CUSTOMER: (&str, &str) =
    ("kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W");

impl Pebble {
    pub async fn start(habits: &Habits) -> Self {
        let (folder, issuer) = (tempfile::tempdir().unwrap(), Issuer::new());
        let own = issuer.issue(&["localhost"]);
        own.replace(folder.path());
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        let (server, names) = names().await;
        let [listen, management] = [free(), free()].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let config = serde_json::json!({ "pebble": {
            "listenAddress": listen, "managementListenAddress": management,
            "certificate": folder.path().join("cert.pem"), "privateKey": folder.path().join("key.pem"),
            "httpPort": 0, "tlsPort": habits.port, "certificateValidityPeriod": habits.valid,
            "externalAccountBindingRequired": habits.customers_only,
            "externalAccountMACKeys": { CUSTOMER.0: CUSTOMER.1 },
        }});
        let file = folder.path().join("pebble.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let mut child = Command::new("pebble")
            .arg("-config")
            .arg(file)
            .args(["-strict", "-dnsserver", &server.to_string()])
            // Neither pauses nor accidents, and each name is looked at each time.
            .envs([("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_WFE_NONCEREJECT", "0"), ("PEBBLE_AUTHZREUSE", "0")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start pebble: {error}; apt-get install pebble"));
        let stdout = child.stdout.take().unwrap();
        let directory = format!("https://localhost:{}/dir", listen.port());
        let pebble = Self { child, directory, management, issuer, folder, names };
        let listening = tokio::task::spawn_blocking(move || {
            let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
            let found = lines.any(|line| line.contains("ACME directory available"));
            // It would block otherwise, one day.
            std::thread::spawn(move || lines.for_each(drop));
            found
        });
        let listening = tokio::time::timeout(PATIENCE, listening).await.expect("pebble in time");
        assert!(listening.unwrap(), "pebble does not listen");
        pebble
    }

    /// The table `[acme]` for it, with these lines.
    pub fn acme(&self, lines: &str) -> String {
        let ca = self.folder.path().join("ca.pem");
        format!("[acme]\nterms_agreed = true\ndirectory = {:?}\nca = {ca:?}\n{lines}\n", self.directory)
    }

    /// Who vouches for the certificates that it issues, as PEM.
    pub async fn root(&self) -> String {
        let answer = Secure::new(self.management, &self.issuer, "localhost").get("/roots/0").await;
        answer.text().to_owned()
    }

    /// It is gone.
    pub fn stop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.stop();
        self.names.abort();
    }
}

impl Setup {
    /// With a certificate for this name, ordered from an authority that `acme` describes.
    pub fn ordering(self, acme: &str, name: &str, port: u16) -> Self {
        self.binding(&format!("https://{name}:{port}")).site("[site.tls]\ncertificate = \"acme\"").more(acme)
    }
}

/// A port that nobody has.
pub fn free() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A server of names: all of them are here, but those that begin with `gone.`.
async fn names() -> (SocketAddr, AbortHandle) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    let answering = async move {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query).await {
            if let Some(answer) = answer(&query[..length]) {
                let _gone = socket.send_to(&answer, from).await;
            }
        }
    };
    (address, tokio::spawn(answering).abort_handle())
}

/// The answer to a query of one question.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let (head, question) = query.split_at_checked(12)?;
    let end = question.iter().position(|byte| *byte == 0)? + 5;
    let question = question.get(..end)?;
    let is_gone = question.starts_with(b"\x04gone");
    let is_address = question[end - 4..] == [0, 1, 0, 1];
    let (code, count) = if is_gone { (3, 0) } else { (0, u8::from(is_address)) };
    let mut answer = [&head[..2], &[0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0], question].concat();
    if count > 0 {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}
