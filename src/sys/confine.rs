//! What a program may do and take, from its first moment on.
//!
//! In: a command that is to be started, and limits. Out: the same command, which will have them before the program runs.
//! Never: changes this process.
#![expect(unsafe_code, reason = "what runs between fork and exec has to be promised to be harmless there")]

use std::{fs::File, io, os::unix::process::CommandExt as _, process::Command};

use rustix::{
    fs::{Gid, Mode, Uid},
    process::{Resource, Rlimit, setrlimit, umask},
    thread::{
        clear_ambient_capability_set, set_no_new_privs, set_thread_gid, set_thread_groups, set_thread_uid,
    },
};
use serde::{Deserialize, Serialize};

use super::image::Image;
use crate::options::Limits;

/// What a process may do and take, with users by number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confined {
    /// As whom it runs; as we do if there is nobody.
    pub(crate) identity: Option<Identity>,
    pub(crate) umask: Option<u32>,
    pub(crate) no_new_privs: bool,
    pub(crate) limits: Limits,
}

/// A user by number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) user: u32,
    pub(crate) group: u32,
    /// All groups.
    pub(crate) groups: Vec<u32>,
}

/// Has `command` be `confined` when it is started, and in the control group whose `cgroup.procs` this is; and then become
/// `image`, whatever program it names itself.
pub(crate) fn confine(command: &mut Command, confined: &Confined, group: Option<File>, image: Image) {
    let steps = Steps::new(confined, group);
    // SAFETY: the closure makes system calls on memory that was prepared here, and nothing else: it neither allocates nor
    // takes a lock, so it may run in a copy of this process in which other threads do not exist.
    unsafe { command.pre_exec(move || steps.take().and_then(|()| Err(image.become_it()))) };
}

/// All that is needed, ready to be used without allocating.
struct Steps {
    group: Option<File>,
    limits: Vec<(Resource, Rlimit)>,
    umask: Option<Mode>,
    groups: Vec<Gid>,
    identity: Option<(Uid, Gid)>,
    no_new_privs: bool,
}

impl Steps {
    fn new(confined: &Confined, group: Option<File>) -> Self {
        let Confined { identity, umask, no_new_privs, limits } = confined;
        let groups = identity.iter().flat_map(|it| &it.groups).map(|group| Gid::from_raw(*group));
        Self {
            group,
            limits: resources(limits),
            umask: umask.map(Mode::from_raw_mode),
            groups: groups.collect(),
            identity: identity.as_ref().map(|it| (Uid::from_raw(it.user), Gid::from_raw(it.group))),
            no_new_privs: *no_new_privs,
        }
    }

    fn take(&self) -> io::Result<()> {
        if let Some(group) = &self.group {
            // Whoever writes this.
            rustix::io::write(group, b"0")?;
        }
        for (resource, limit) in &self.limits {
            setrlimit(*resource, *limit)?;
        }
        if let Some(mask) = self.umask {
            umask(mask);
        }
        if let Some((user, group)) = self.identity {
            // The user last: who is another one may not change the groups any more.
            set_thread_groups(&self.groups)?;
            set_thread_gid(group)?;
            set_thread_uid(user)?;
            // Who was root has lost its capabilities by that. Those that a service manager gave to another user stay,
            // and with the one to become somebody else, whoever runs next could become root.
            clear_ambient_capability_set()?;
        }
        if self.no_new_privs {
            set_no_new_privs(true)?;
        }
        Ok(())
    }
}

fn resources(limits: &Limits) -> Vec<(Resource, Rlimit)> {
    // The others are those of a control group.
    let Limits { cpu_time, open_files, processes, core, memory, .. } = limits;
    let hard = |most: u64| Rlimit { current: Some(most), maximum: Some(most) };
    // SIGXCPU first, which names the reason; SIGKILL for one that does not mind it.
    let time = cpu_time.map(|time| {
        let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        Rlimit { current: Some(seconds), maximum: Some(seconds + GRACE) }
    });
    [
        (Resource::Cpu, time),
        (Resource::Nofile, open_files.map(hard)),
        (Resource::Nproc, processes.map(hard)),
        (Resource::Core, core.map(hard)),
        (Resource::As, memory.map(hard)),
    ]
    .into_iter()
    .filter_map(|(resource, limit)| Some((resource, limit?)))
    .collect()
}

const GRACE: u64 = 5;

#[cfg(test)]
mod tests {
    use rustix::thread::{
        CapabilitySet, CapabilitySets, configure_capability_in_ambient_set, set_capabilities,
        set_keep_capabilities,
    };

    use super::*;

    /// Becomes a user that may change users, as a service manager makes one. Only this thread does.
    fn become_capable() {
        let all = CapabilitySet::SETUID | CapabilitySet::SETGID;
        set_keep_capabilities(true).unwrap();
        set_thread_uid(Uid::from_raw(54_323)).unwrap();
        let sets = CapabilitySets { effective: all, permitted: all, inheritable: all };
        set_capabilities(None, sets).unwrap();
        for one in all.iter() {
            configure_capability_in_ambient_set(one, true).unwrap();
        }
    }

    /// What a program may that is started with that.
    fn capabilities_of(confined: &Confined) -> String {
        let words = ["sh", "-c", "grep -E 'CapPrm|CapEff|CapAmb' /proc/self/status"].map(Into::into);
        let image = Image::new("/bin/sh".as_ref(), &words, &[]).unwrap();
        let mut command = Command::new("/bin/sh");
        confine(&mut command, confined, None, image);
        let output = command.output().unwrap();
        String::from_utf8(output.stdout).unwrap().replace('\t', " ")
    }

    #[test]
    fn who_runs_as_somebody_else_has_none_of_our_capabilities() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: only root can start processes as somebody else");
            return;
        }
        let said = std::thread::spawn(|| {
            become_capable();
            let identity = Some(Identity { user: 54_324, group: 54_324, groups: vec![54_324] });
            capabilities_of(&Confined { identity, ..Confined::default() })
        });
        let none = ["CapPrm", "CapEff", "CapAmb"].map(|set| format!("{set}: {:016x}\n", 0)).concat();
        assert_eq!(said.join().unwrap(), none);
    }
}
