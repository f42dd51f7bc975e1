//! The folder of an authority: account, certificates with their keys, what came of orders, challenges under way.
//!
//! In: what is to be kept. Out: what was kept. Never: a file that others may read (0600, in folders of 0700), half of
//! one, or a folder that others may read or write.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::schedule::{Held, Record};
use crate::{
    config::Acme,
    listener::tls::{Identity, Pem, Source},
};

/// The folder of an authority. Its functions block.
#[derive(Clone, Debug)]
pub struct Store {
    acme: Acme,
}

/// Who the authority knows us as.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) contact: Vec<String>,
    pub(super) credentials: serde_json::Value,
}

/// A challenge that can be answered. Dropping it ends that.
#[derive(Debug)]
pub(super) struct Shown(PathBuf);

impl Store {
    /// The folder of this authority, which need not be there.
    #[must_use]
    pub fn new(acme: &Acme) -> Self {
        Self { acme: acme.clone() }
    }

    /// What came of ordering a certificate for `name`.
    #[must_use]
    pub fn record(&self, name: &str) -> Record {
        self.read(&self.of_name(ORDERS, name, "json")).unwrap_or_default()
    }

    /// What came of asking the authority anything at all.
    #[must_use]
    pub fn authority(&self) -> Record {
        self.read(&self.acme.folder.join(AUTHORITY)).unwrap_or_default()
    }

    /// Makes the folder, if it is not there.
    pub(super) fn open(&self) -> io::Result<()> {
        for folder in [CERTIFICATES, ORDERS, CHALLENGES] {
            DirBuilder::new().recursive(true).mode(0o700).create(self.acme.folder.join(folder))?;
        }
        private(&self.acme.folder)
    }

    /// Takes the folder for oneself, until the file is dropped; `None` if somebody else has it.
    pub(super) fn lock(&self) -> io::Result<Option<File>> {
        let file = private_file().truncate(false).open(self.acme.folder.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The certificate for `name`, if there is one that could be presented, now or once.
    pub(super) fn held(&self, name: &str) -> Option<Held> {
        let file = self.acme.certificate(name);
        let source = Source { certificate: &file, key: &file, ocsp: None };
        understood(&Pem::read(source).ok()?, source, name)
    }

    /// Keeps a certificate for `name`, with its key, if it is one.
    pub(super) fn keep(&self, name: &str, pem: &str) -> io::Result<Held> {
        let file = self.acme.certificate(name);
        let source = Source { certificate: &file, key: &file, ocsp: None };
        let held = understood(&Pem::new(pem.to_owned(), pem.to_owned()), source, name);
        let held = held.ok_or_else(|| {
            io::Error::other("what the authority issued is no certificate for this name and key")
        })?;
        write(&file, pem.as_bytes())?;
        Ok(held)
    }

    pub(super) fn set_record(&self, name: &str, record: &Record) -> io::Result<()> {
        write(&self.of_name(ORDERS, name, "json"), &json(record)?)
    }

    pub(super) fn set_authority(&self, record: &Record) -> io::Result<()> {
        write(&self.acme.folder.join(AUTHORITY), &json(record)?)
    }

    pub(super) fn account(&self) -> Option<Kept> {
        self.read(&self.acme.folder.join(ACCOUNT))
    }

    pub(super) fn set_account(&self, account: &Kept) -> io::Result<()> {
        write(&self.acme.folder.join(ACCOUNT), &json(account)?)
    }

    /// The authority does not know the account any more.
    pub(super) fn forget_account(&self) -> io::Result<()> {
        let file = self.acme.folder.join(ACCOUNT);
        // Not removed: whoever can mend what has happened may need its key.
        fs::rename(&file, file.with_extension("json.unknown"))
    }

    /// Has a challenge for `name` answered with this certificate and key.
    pub(super) fn show(&self, name: &str, pem: &str) -> io::Result<Shown> {
        let file = self.of_name(CHALLENGES, name, "pem");
        write(&file, pem.as_bytes())?;
        Ok(Shown(file))
    }

    /// With what a challenge for `name` is to be answered.
    pub(super) fn shown(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.of_name(CHALLENGES, name, "pem")).ok()
    }

    fn of_name(&self, folder: &str, name: &str, extension: &str) -> PathBuf {
        self.acme.folder.join(folder).join(format!("{name}.{extension}"))
    }

    fn read<T: DeserializeOwned>(&self, file: &Path) -> Option<T> {
        let text = fs::read(file).ok()?;
        serde_json::from_slice(&text)
            .inspect_err(|error| tracing::warn!(file = %file.display(), %error, "not what the host writes there; going on without"))
            .ok()
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        // One that is left answers nobody: every challenge has a certificate of its own.
        let _gone = fs::remove_file(&self.0);
    }
}

fn understood(pem: &Pem, source: Source<'_>, name: &str) -> Option<Held> {
    let identity = Identity::new(pem, source).ok().filter(|identity| identity.is_for(name))?;
    Some(Held { since: identity.valid_since(), until: identity.valid_until() })
}

fn json(value: &impl Serialize) -> io::Result<Vec<u8>> {
    serde_json::to_vec_pretty(value).map_err(io::Error::from)
}

/// In one step, and for good: whoever reads it sees the old one or the new one, also after the power was cut.
fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut next = file.as_os_str().to_owned();
    next.push(".next");
    let mut written = private_file().truncate(true).open(&next)?;
    written.write_all(bytes)?;
    written.sync_all()?;
    fs::rename(&next, file)?;
    File::open(file.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

/// Whether nobody else has a say in a folder, or a look into it.
fn private(folder: &Path) -> io::Result<()> {
    let found = fs::metadata(folder)?;
    let us = rustix::process::geteuid().as_raw();
    if found.uid() == us && found.mode() & 0o077 == 0 {
        return Ok(());
    }
    let why = format!(
        "{} has keys, and others may read or write there; make it the host's own, with chmod 700 and chown {us}",
        folder.display()
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

const ACCOUNT: &str = "account.json";
const AUTHORITY: &str = "authority.json";
const CERTIFICATES: &str = "certificates";
const CHALLENGES: &str = "challenges";
const LOCK: &str = "lock";
const ORDERS: &str = "orders";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let acme = Acme {
            directory: "https://ca.example/directory".into(),
            contact: Vec::new(),
            folder: folder.path().join("deep/ca"),
            ca: None,
            external_account: None,
        };
        let store = Store::new(&acme);
        store.open().unwrap();
        (folder, store)
    }

    fn issued(name: &str) -> String {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        made.signing_key.serialize_pem() + &made.cert.pem()
    }

    #[test]
    fn what_is_kept_is_for_nobody_else() {
        let (_folder, store) = store();
        store.keep("a.example", &issued("a.example")).unwrap();
        store.set_record("a.example", &Record::default()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&store.acme.certificate("a.example")), 0o600);
        assert_eq!(mode(&store.of_name(ORDERS, "a.example", "json")), 0o600);
        assert_eq!(mode(&store.acme.folder), 0o700);
        assert_eq!(mode(store.acme.folder.parent().unwrap()), 0o700);
        fs::set_permissions(&store.acme.folder, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(store.open().unwrap_err().to_string().contains("chmod 700"));
    }

    #[test]
    fn a_certificate_for_another_name_is_neither_kept_nor_found() {
        let (_folder, store) = store();
        assert_eq!(store.held("a.example"), None);
        assert!(store.keep("a.example", &issued("b.example")).is_err());
        assert_eq!(store.held("a.example"), None);
        let held = store.keep("a.example", &issued("a.example")).unwrap();
        assert_eq!(store.held("a.example"), Some(held));
        fs::write(store.acme.certificate("a.example"), "half of a cert").unwrap();
        assert_eq!(store.held("a.example"), None);
    }

    #[test]
    fn one_at_a_time_has_the_folder() {
        let (_folder, store) = store();
        let lock = store.lock().unwrap();
        assert!(lock.is_some());
        assert!(store.lock().unwrap().is_none());
        drop(lock);
        assert!(store.lock().unwrap().is_some());
    }

    #[test]
    fn a_challenge_is_answered_while_it_is_under_way() {
        let (_folder, store) = store();
        let shown = store.show("a.example", "challenge").unwrap();
        assert_eq!(store.shown("a.example").as_deref(), Some("challenge"));
        drop(shown);
        assert_eq!(store.shown("a.example"), None);
    }

    #[test]
    fn a_record_that_nobody_understands_is_none() {
        let (_folder, store) = store();
        fs::write(store.of_name(ORDERS, "a.example", "json"), "{").unwrap();
        assert_eq!(store.record("a.example"), Record::default());
    }
}
