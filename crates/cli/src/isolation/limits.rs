//! Limits this process: for a child that runs on behalf of its parent.

use crate::flags::ProcessLimits;

#[cfg(unix)]
mod unix {
    use super::ProcessLimits;
    use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};

    /// Limits what this process may add to its address space, and ends it when its parent ends.
    pub(crate) fn limit_memory(limits: &ProcessLimits) -> Result<(), String> {
        #[cfg(target_os = "linux")]
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
            .map_err(|error| error.to_string())?;
        let bytes = (limits.memory_mib() << 20).saturating_add(present_bytes());
        let (_, hard) = getrlimit(Resource::RLIMIT_AS).map_err(|error| error.to_string())?;
        setrlimit(Resource::RLIMIT_AS, bytes.min(hard), hard)
            .map_err(|error| format!("cannot limit the memory to {bytes} bytes: {error}"))
    }

    /// The address space of this process; zero where the system does not say. The allocator reserves some of it before
    /// anything runs.
    fn present_bytes() -> u64 {
        // A page of Linux has 4 KiB or more.
        const PAGE: u64 = 4 << 10;
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = statm.split(' ').next().and_then(|pages| pages.parse::<u64>().ok());
        pages.unwrap_or(0).saturating_mul(PAGE)
    }

    /// A run begins: from now on it may use so much processor time.
    pub(crate) fn begin_run(limits: &ProcessLimits) {
        let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return };
        let used = usage.user_time().tv_sec() + usage.system_time().tv_sec();
        let Ok((_, hard)) = getrlimit(Resource::RLIMIT_CPU) else { return };
        let until = (used.max(0) as u64 + 1 + limits.cpu_seconds()).min(hard);
        // Without the limit a run may take longer; the parent still watches the clock.
        let _ = setrlimit(Resource::RLIMIT_CPU, until, hard);
    }
}

#[cfg(unix)]
pub(crate) use unix::{begin_run, limit_memory};

/// Other systems than Unix have no such limit.
#[cfg(not(unix))]
pub(crate) fn limit_memory(_: &ProcessLimits) -> Result<(), String> {
    Ok(())
}

/// Other systems than Unix have no such limit.
#[cfg(not(unix))]
pub(crate) fn begin_run(_: &ProcessLimits) {}
