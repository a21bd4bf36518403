//! What a process that compiles may still ask of the system: memory, threads of its own, its pipes and the clock. Everything else
//! is answered as if the system did not have it, so that a module that takes the compiler over has nothing in reach.
//!
//! | it cannot | so that |
//! |---|---|
//! | open, make or remove a file | keys, credentials and artifacts of the host stay unread and unchanged |
//! | open a socket or a device | it reaches neither the broker nor any network |
//! | start a program, or look into or signal another process | it stays what it is |
//! | raise its limits | they hold for an administrator's process, too |

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

/// What any program on Linux does while it computes.
const ALLOWED: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

/// Confines the calling thread and those that it starts from now on, for ever.
///
/// # Errors
/// A system or a machine on which that cannot be done.
pub(super) fn confine() -> Result<(), seccompiler::Error> {
    apply_filter(&program()?)
}

fn program() -> Result<BpfProgram, seccompiler::Error> {
    let word = |place, operator, value| {
        SeccompCondition::new(place, SeccompCmpArgLen::Qword, operator, value).and_then(|it| SeccompRule::new(vec![it]))
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    // A thread, no process. Of `clone3` the kernel does not show what it is for: without it, the C library uses this one.
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    rules.insert(libc::SYS_clone, vec![word(0, SeccompCmpOp::MaskedEq(thread), thread)?]);
    // To this process, as `abort` does. Its number is the same for all its threads.
    rules.insert(libc::SYS_tgkill, vec![word(0, SeccompCmpOp::Eq, u64::from(std::process::id()))?]);
    // Of this process, and to read them.
    rules.insert(libc::SYS_prlimit64, vec![word(2, SeccompCmpOp::Eq, 0)?]);
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let absent = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    Ok(SeccompFilter::new(rules, absent, SeccompAction::Allow, arch)?.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::{self, Read as _};
    use std::net::{TcpListener, UdpSocket};
    use std::process::Command;

    /// Runs `work` in a thread that is confined: the thread alone is.
    fn confined<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        let work = || {
            confine().unwrap();
            work()
        };
        std::thread::spawn(work).join().unwrap()
    }

    fn is_absent<T>(result: io::Result<T>) -> bool {
        result.is_err_and(|error| error.raw_os_error() == Some(libc::ENOSYS))
    }

    #[test]
    fn nothing_of_the_system_is_in_reach() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_owned();
        let parent = rustix::process::getppid().unwrap();
        assert!(rustix::process::test_kill_process(parent).is_ok());
        confined(move || {
            assert!(is_absent(File::open(&path)));
            assert!(is_absent(File::create(path.with_extension("new"))));
            assert!(is_absent(fs::remove_file(&path)));
            assert!(is_absent(fs::metadata(&path)));
            assert!(is_absent(fs::read_dir("/proc/self/fd")));
            assert!(is_absent(TcpListener::bind("127.0.0.1:0")));
            assert!(is_absent(UdpSocket::bind("127.0.0.1:0")));
            assert!(Command::new("/bin/true").spawn().is_err());
            assert!(
                rustix::process::setrlimit(
                    rustix::process::Resource::Core,
                    rustix::process::Rlimit { current: Some(0), maximum: Some(0) }
                )
                .is_err()
            );
            assert!(rustix::process::test_kill_process(parent).is_err());
        });
        assert!(file.path().exists());
    }

    #[test]
    fn memory_threads_and_what_was_open_go_on() {
        let mut status = File::open("/proc/thread-self/status").unwrap();
        let text = confined(move || {
            let more = std::thread::spawn(|| vec![1_u8; 64 << 20].into_iter().map(u64::from).sum::<u64>());
            assert_eq!(more.join().unwrap(), 64 << 20);
            let of_a_thread = std::thread::spawn(|| File::open("/proc/self/status").is_err());
            assert!(of_a_thread.join().unwrap(), "what it starts is confined as well");
            let mut text = String::new();
            status.read_to_string(&mut text).unwrap();
            text
        });
        assert!(text.contains("Seccomp:"), "{text}");
    }
}
