//! `app_offline.htm`: a file in an application's folder that takes it offline for as long as it is there.
//!
//! In: the folder. Out: whether the file is there, and the page to show. Never: takes a file that cannot be read, or is
//! still being written, for one that is not there.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use crate::standing::{By, Offline};

/// Where the file of an application would be.
pub(crate) fn file(content_root: &Path) -> PathBuf {
    content_root.join(NAME)
}

/// What the file in this folder asks for; `None` if there is none.
pub(crate) fn read(content_root: &Path) -> Option<Offline> {
    let file = file(content_root);
    // Not `exists`, which is about what a link leads to.
    fs::symlink_metadata(&file).ok()?;
    Some(Offline { by: By::File, page: page(&file) })
}

/// The page, if there is one worth showing: text, and not too much of it.
fn page(file: &Path) -> Option<String> {
    // A pipe of this name would not be read to an end.
    if !fs::metadata(file).ok()?.is_file() {
        return None;
    }
    let mut page = Vec::new();
    fs::File::open(file).ok()?.take(LARGEST_PAGE + 1).read_to_end(&mut page).ok()?;
    let fits = u64::try_from(page.len()).is_ok_and(|length| length <= LARGEST_PAGE);
    String::from_utf8(page).ok().filter(|page| fits && !page.trim().is_empty())
}

/// The name that the ASP.NET Core Module made known.
const NAME: &str = "app_offline.htm";

/// Each worker holds it in memory, and it is sent for every request.
const LARGEST_PAGE: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn whatever_the_file_is_it_counts_and_its_text_is_the_page() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path());
        let page = || read(folder.path()).expect("it is there").page;
        assert_eq!(read(folder.path()), None);
        fs::write(&file, "<p>back at noon").unwrap();
        assert_eq!(page().as_deref(), Some("<p>back at noon"));
        fs::write(&file, " \n").unwrap();
        assert_eq!(page(), None);
        fs::write(&file, [0xff, 0xfe]).unwrap();
        assert_eq!(page(), None);
        fs::write(&file, "x".repeat((1 << 20) + 1)).unwrap();
        assert_eq!(page(), None);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o0)).unwrap();
        assert_eq!(page(), None);
        fs::remove_file(&file).unwrap();
        symlink("nowhere", &file).unwrap();
        assert_eq!(page(), None);
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert_eq!(page(), None);
    }
}
