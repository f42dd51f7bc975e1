//! Real files, in all the ways in which deployments replace them.

use std::os::unix::fs::symlink;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;

const PACE: Pace = Pace {
    quiet: Duration::from_millis(20),
    longest: Duration::from_millis(500),
    poll: Duration::from_millis(20),
};

struct Watched {
    root: tempfile::TempDir,
    _files: Files,
    changed: UnboundedReceiver<BTreeSet<PathBuf>>,
    file: PathBuf,
}

impl Watched {
    /// Looks after `file`, of which the first change was told: that it is there, or not.
    async fn new(file: &str, prepare: impl FnOnce(&Path)) -> Self {
        Self::with(Notices::default(), file, prepare).await
    }

    async fn with(notices: Notices, file: &str, prepare: impl FnOnce(&Path)) -> Self {
        let root = tempfile::tempdir().unwrap();
        prepare(root.path());
        let file = root.path().join(file);
        let (change, changed) = unbounded_channel();
        let files = Files::with(notices, PACE, change).unwrap();
        files.watch(BTreeSet::from([file.clone()]));
        let mut watched = Self { root, _files: files, changed, file };
        watched.told().await;
        watched
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    async fn told(&mut self) {
        let limit = Duration::from_secs(10);
        let told = tokio::time::timeout(limit, self.changed.recv()).await.expect("in time").unwrap();
        assert_eq!(told, BTreeSet::from([self.file.clone()]));
    }
}

#[tokio::test]
async fn a_file_that_is_written_to_replaced_removed_and_put_back_is_told_each_time() {
    let mut watched = Watched::new("a", |root| fs::write(root.join("a"), "1").unwrap()).await;
    let (file, new) = (watched.file.clone(), watched.path("new"));
    fs::write(&file, "2").unwrap();
    watched.told().await;
    fs::write(&new, "3").unwrap();
    fs::rename(&new, &file).unwrap();
    watched.told().await;
    fs::remove_file(&file).unwrap();
    watched.told().await;
    fs::write(&file, "4").unwrap();
    watched.told().await;
    // With the date of another one.
    let date = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, "5").unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(date).unwrap();
    watched.told().await;
}

#[tokio::test]
async fn a_link_that_is_moved_anywhere_on_the_way_is_a_change() {
    let mut watched = Watched::new("current/lib/a", |root| {
        for release in ["1", "2"] {
            fs::create_dir_all(root.join(release).join("lib")).unwrap();
            fs::write(root.join(release).join("lib/a"), release).unwrap();
        }
        symlink("1", root.join("current")).unwrap();
    })
    .await;
    symlink("2", watched.path("next")).unwrap();
    fs::rename(watched.path("next"), watched.path("current")).unwrap();
    watched.told().await;
    // Where it leads now is looked after, too.
    fs::write(watched.path("2/lib/a"), "3").unwrap();
    watched.told().await;
}

#[tokio::test]
async fn a_folder_that_comes_late_goes_or_is_exchanged_is_followed() {
    let mut watched = Watched::new("app/lib/a", |_| {}).await;
    let prepare = |name: &str| {
        let folder = watched.path(name).join("lib");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("a"), name).unwrap();
    };
    prepare("new");
    fs::rename(watched.path("new"), watched.path("app")).unwrap();
    watched.told().await;
    let prepare = |name: &str| {
        fs::create_dir_all(watched.path(name).join("lib")).unwrap();
        fs::write(watched.path(name).join("lib/a"), name).unwrap();
    };
    prepare("newer");
    fs::rename(watched.path("app"), watched.path("old")).unwrap();
    fs::rename(watched.path("newer"), watched.path("app")).unwrap();
    watched.told().await;
    fs::write(watched.path("app/lib/a"), "in place").unwrap();
    watched.told().await;
    fs::remove_dir_all(watched.path("app")).unwrap();
    watched.told().await;
}

// Fault H10.
#[tokio::test]
async fn past_the_systems_limits_changes_are_told_all_the_same() {
    let notices = Notices::past_the_limit();
    let mut watched = Watched::with(notices, "a", |root| fs::write(root.join("a"), "1").unwrap()).await;
    fs::write(&watched.file, "2").unwrap();
    watched.told().await;
    fs::remove_file(&watched.file).unwrap();
    watched.told().await;
}

// Fault H10.
#[tokio::test]
async fn after_a_thousand_changes_the_last_one_is_told() {
    let mut watched = Watched::new("a", |_| {}).await;
    for _ in 0..1000 {
        fs::write(&watched.file, "").unwrap();
        fs::remove_file(&watched.file).unwrap();
    }
    fs::write(&watched.file, "last").unwrap();
    let last = fs::metadata(&watched.file).unwrap().modified().unwrap();
    // Some of those before may have been told.
    loop {
        watched.told().await;
        if last.elapsed().unwrap() >= PACE.quiet {
            break;
        }
    }
}

#[test]
fn it_ends_with_whoever_wants_to_know() {
    let (change, mut changed) = unbounded_channel();
    let files = Files::new(PACE, change).unwrap();
    drop(files);
    assert_eq!(changed.blocking_recv(), None);
}
