//! A browser: Chromium without a window, which is told what to do through a pipe.

use std::{path::Path, process::Stdio};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rcgen::{KeyPair, PublicKeyData as _};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::Issued;

/// A browser with one page. It ends with the test, and what it has written down goes, too.
pub struct Browser {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    told: u64,
    page: Option<Value>,
    home: tempfile::TempDir,
}

impl Browser {
    /// One that finds `name` on this machine and no other name anywhere, and takes certificates of this key for valid.
    pub async fn start(name: &str, issued: &Issued) -> Self {
        let home = tempfile::tempdir().unwrap();
        let said = std::fs::File::create(home.path().join("said")).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", START, "browser"]).args(FLAGS);
        command.arg(format!("--host-resolver-rules=MAP {name} 127.0.0.1,MAP * ~NOTFOUND"));
        command.arg(format!("--ignore-certificate-errors-spki-list={}", fingerprint(issued)));
        command.arg(format!("--user-data-dir={}", home.path().display()));
        command.env("HOME", home.path()).env("TMPDIR", home.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(said);
        // It has processes of its own, which are to end with it.
        let mut child = command.process_group(0).spawn().unwrap();
        let (commands, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut browser =
            Self { child, commands, answers: BufReader::new(answers), told: 0, page: None, home };
        let target = browser.tell("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        browser.page = Some(browser.tell("Target.attachToTarget", attach).await["sessionId"].clone());
        browser
    }

    /// Goes to a page. Returns when it has begun to come.
    pub async fn open(&mut self, url: &str) {
        let opened = self.tell("Page.navigate", json!({ "url": url })).await;
        assert!(opened.get("errorText").is_none(), "{url}: {opened}");
    }

    /// What a script on the page comes to; where it is a promise, what that is fulfilled with.
    pub async fn evaluate(&mut self, script: &str) -> Value {
        let how = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let evaluated = self.tell("Runtime.evaluate", how).await;
        assert!(evaluated.get("exceptionDetails").is_none(), "{evaluated}");
        evaluated["result"]["value"].clone()
    }

    /// Writes down what it shows, for people to look at.
    pub async fn picture(&mut self, file: &Path) {
        let taken = self.tell("Page.captureScreenshot", json!({})).await;
        let picture = BASE64_STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        std::fs::write(file, picture).unwrap();
    }

    /// A command of the DevTools protocol, and what came of it.
    async fn tell(&mut self, method: &str, params: Value) -> Value {
        self.told += 1;
        let mut command = json!({ "id": self.told, "method": method, "params": params });
        if let Some(page) = &self.page {
            command["sessionId"] = page.clone();
        }
        let sent = self.commands.write_all(format!("{command}\0").as_bytes()).await;
        let mut answer = json!({});
        while sent.is_ok() && answer["id"] != self.told {
            let mut text = Vec::new();
            let _broken = self.answers.read_until(0, &mut text).await;
            let Some(text) = text.strip_suffix(b"\0") else { break };
            answer = serde_json::from_slice(text).unwrap();
        }
        match answer.get("result") {
            Some(result) => result.clone(),
            None => panic!("{method}: {answer}\n{}", self.said()),
        }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.home.path().join("said")).unwrap_or_default()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let _gone_already = group.map(|group| kill_process_group(group, Signal::KILL));
    }
}

/// The key of a certificate, as Chromium wants it named.
fn fingerprint(issued: &Issued) -> String {
    let key = KeyPair::from_pem(&issued.key).unwrap();
    BASE64_STANDARD.encode(Sha256::digest(key.subject_public_key_info()))
}

/// The pipe is to be the descriptors 3 and 4.
const START: &str = r#"
for program in chromium-headless-shell chromium; do
    command -v $program >&2 || continue
    exec $program "$@" 3<&0 4>&1 </dev/null >&2
done
echo "there is no Chromium here: install chromium or chromium-headless-shell" >&2
"#;

const FLAGS: [&str; 9] = [
    "--headless=new",
    "--remote-debugging-pipe",
    // As root it does not start otherwise; and the pages are our own.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--window-size=1000,900",
];
