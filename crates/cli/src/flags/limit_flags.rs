//! The flags for runs in child processes.

use clap::Args;

/// What one run in a child process may use.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Isolation")]
pub(crate) struct ProcessLimits {
    /// The memory of a process that runs seeds or a case on its own, in MiB of address space. A run that needs more is a
    /// finding of the class `killed: memory`. Unix only.
    #[arg(long, value_name = "MIB", default_value_t = MEMORY_MIB, value_parser = clap::value_parser!(u64).range(64..))]
    pub(crate) memory_mib: u64,

    /// The processor time of one such run, in seconds. A run that takes longer is a finding of the class `hung`.
    /// Unix only.
    #[arg(long, value_name = "S", default_value_t = CPU_SECONDS, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) cpu_seconds: u64,

    /// The stack of the thread of such a run, in KiB: by default that of a default thread. A run that needs more is a
    /// finding of the class `aborted: stack overflow`.
    #[arg(long, value_name = "KIB", default_value_t = STACK_KIB, value_parser = clap::value_parser!(u64).range(64..=1 << 22))]
    stack_kib: u64,
}

const MEMORY_MIB: u64 = 4_096;
const CPU_SECONDS: u64 = 300;
const STACK_KIB: u64 = 2_048;

impl Default for ProcessLimits {
    fn default() -> Self {
        Self { memory_mib: MEMORY_MIB, cpu_seconds: CPU_SECONDS, stack_kib: STACK_KIB }
    }
}

impl ProcessLimits {
    /// The flags that give a child these limits.
    pub(crate) fn flags(&self) -> Vec<String> {
        let Self { memory_mib, cpu_seconds, stack_kib } = self;
        let flags = [("memory-mib", memory_mib), ("cpu-seconds", cpu_seconds), ("stack-kib", stack_kib)];
        flags.iter().flat_map(|(flag, value)| [format!("--{flag}"), value.to_string()]).collect()
    }

    /// The stack of the thread of a run, in bytes.
    pub(crate) const fn stack_bytes(&self) -> usize {
        (self.stack_kib << 10) as usize
    }

    /// How long a run may take on the clock on the wall. A process that waits uses no processor time; and one that
    /// shares the machine gets little of it.
    pub(crate) const fn wall_seconds(&self) -> u64 {
        self.cpu_seconds * 10
    }
}
