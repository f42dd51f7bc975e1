//! As whom an instance runs.
//!
//! In: the names or numbers of a user and a group. Out: numbers, or why nobody can run as that. Never: changes who we are.

use std::{ffi::CString, io, path::Path};

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use rustix::thread::{CapabilitySet, capabilities};

use super::{error::StartError, prepared::refused};
use crate::{
    options::Confinement,
    sys::confine::{Confined, Identity},
};

/// Why nobody can run as this user, or in this group, as far as the system knows them: with the fix.
///
/// # Errors
/// There is no such user or group, or nobody can tell.
pub fn look_up(user: Option<&str>, group: Option<&str>) -> Result<(), String> {
    identity(user, group).map(drop).map_err(|Unusable { who, advice, .. }| format!("{advice} (is {who:?})"))
}

/// With numbers in place of names.
pub(super) fn confined(confinement: &Confinement) -> Result<Confined, StartError> {
    let Confinement { user, group, umask, no_new_privs, limits } = confinement.clone();
    let identity = match (user, group) {
        (None, None) => None,
        (user, group) => Some(permitted(identity(user.as_deref(), group.as_deref())?)?),
    };
    Ok(Confined { identity, umask, no_new_privs, limits })
}

fn identity(user: Option<&str>, group: Option<&str>) -> Result<Identity, Unusable> {
    let group = group.map(self::group).transpose()?;
    let Some(user) = user else {
        let user = rustix::process::geteuid().as_raw();
        let group = group.unwrap_or_else(|| rustix::process::getegid().as_raw());
        return Ok(Identity { user, group, groups: vec![group] });
    };
    let found = match user.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(user),
    };
    let found = found.map_err(|error| unusable(user, "the system cannot look this user up", error.into()))?;
    match (found, user.parse(), group) {
        (Some(found), _, group) => {
            let group = group.unwrap_or(found.gid.as_raw());
            let groups = groups(&found.name, group);
            Ok(Identity { user: found.uid.as_raw(), group, groups })
        }
        (None, Ok(number), Some(group)) => Ok(Identity { user: number, group, groups: vec![group] }),
        (None, Ok(_), None) => Err(unusable(
            user,
            "there is no such user, so say which group, too",
            io::ErrorKind::NotFound.into(),
        )),
        (None, Err(_), _) => {
            Err(unusable(user, "there is no user of that name; create it", io::ErrorKind::NotFound.into()))
        }
    }
}

fn group(group: &str) -> Result<u32, Unusable> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    match Group::from_name(group) {
        Ok(Some(found)) => Ok(found.gid.as_raw()),
        Ok(None) => {
            Err(unusable(group, "there is no group of that name; create it", io::ErrorKind::NotFound.into()))
        }
        Err(error) => Err(unusable(group, "the system cannot look this group up", error.into())),
    }
}

/// All groups of a user whose own is `group`.
fn groups(user: &str, group: u32) -> Vec<u32> {
    let all = CString::new(user).ok().and_then(|user| getgrouplist(&user, Gid::from_raw(group)).ok());
    all.map_or_else(|| vec![group], |all| all.into_iter().map(Gid::as_raw).collect())
}

fn permitted(identity: Identity) -> Result<Identity, Unusable> {
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::CHOWN;
    let has = capabilities(None)
        .map_err(|error| unusable("", "the system does not say what we may", error.into()))?;
    if has.effective.contains(needed) {
        return Ok(identity);
    }
    let advice = "the host may not start a process as another user or group; run it as root, give it CAP_SETUID, CAP_SETGID and \
                  CAP_CHOWN, or leave out user and group";
    Err(unusable(&identity.user.to_string(), advice, io::ErrorKind::PermissionDenied.into()))
}

/// Who nobody can run as.
#[derive(Debug)]
struct Unusable {
    who: String,
    advice: &'static str,
    source: io::Error,
}

impl From<Unusable> for StartError {
    fn from(Unusable { who, advice, source }: Unusable) -> Self {
        refused(Path::new(&who), advice, source)
    }
}

fn unusable(who: &str, advice: &'static str, source: io::Error) -> Unusable {
    Unusable { who: who.to_owned(), advice, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_of_users_and_groups_become_numbers() {
        let root = identity(Some("root"), None).unwrap();
        assert_eq!((root.user, root.group), (0, 0));
        assert!(root.groups.contains(&0));
        assert_eq!(identity(Some("0"), Some("12345")).unwrap().group, 12345);
        let nobody = identity(Some("123456"), Some("root")).unwrap();
        assert_eq!(nobody, Identity { user: 123_456, group: 0, groups: vec![0] });
    }

    #[test]
    fn who_is_looked_up_beforehand_is_there_or_named_with_what_to_do() {
        assert_eq!(look_up(Some("root"), Some("root")), Ok(()));
        assert_eq!(
            look_up(Some("no-such-user"), None).unwrap_err(),
            "there is no user of that name; create it (is \"no-such-user\")"
        );
        assert!(look_up(None, Some("no-such-group")).unwrap_err().contains("no group of that name"));
    }

    #[test]
    fn who_is_not_there_is_named_with_what_to_do() {
        for (user, group, told) in [
            (Some("no-such-user"), None, "no-such-user"),
            (Some("123456"), None, "say which group"),
            (Some("root"), Some("no-such-group"), "no-such-group"),
        ] {
            let error = StartError::from(identity(user, group).unwrap_err());
            assert!(error.to_string().contains(told), "{error}");
        }
    }
}
