//! The flags for runs in child processes.

use clap::Args;

/// What one run in a child process may use. A command that is given one of these flags runs in child processes.
#[derive(Args, Clone, Copy, Default, Debug)]
#[command(next_help_heading = "Isolation")]
pub(crate) struct ProcessLimits {
    /// The memory of a process that runs seeds or a case on its own, in MiB of address space: 4096 by default. A run
    /// that needs more is a finding of the class `killed: memory`. Unix only.
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(64..=MOST_MEMORY_MIB))]
    memory_mib: Option<u64>,

    /// The processor time of one such run, in seconds: 300 by default. A run that takes longer is a finding of the
    /// class `hung`. Unix only.
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=MOST_CPU_SECONDS))]
    cpu_seconds: Option<u64>,

    /// The stack of the thread of such a run, in KiB: by default that of a default thread, 2048. A run that needs more
    /// is a finding of the class `aborted: stack overflow`.
    #[arg(long, value_name = "KIB", value_parser = clap::value_parser!(u64).range(64..=MOST_STACK_KIB))]
    stack_kib: Option<u64>,
}

/// A tebibyte: more than a machine has that runs simulations.
const MOST_MEMORY_MIB: u64 = 1 << 20;
/// A day.
const MOST_CPU_SECONDS: u64 = 86_400;
/// Four gibibytes.
const MOST_STACK_KIB: u64 = 1 << 22;

impl ProcessLimits {
    /// Whether the user asks for a limit. Only a process of its own can have it.
    pub(crate) fn are_given(&self) -> bool {
        !self.given().is_empty()
    }

    /// The flags that the user has given.
    pub(crate) fn given(&self) -> Vec<String> {
        let Self { memory_mib, cpu_seconds, stack_kib } = *self;
        let flags =
            [("--memory-mib", memory_mib), ("--cpu-seconds", cpu_seconds), ("--stack-kib", stack_kib)];
        let given = flags.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value?.to_string()]));
        given.flatten().collect()
    }

    /// The flags that give a child these limits, whichever of them the user has given.
    pub(crate) fn flags(&self) -> Vec<String> {
        let memory_mib = Some(self.memory_mib());
        let stack_kib = Some(self.stack_kib());
        Self { memory_mib, cpu_seconds: Some(self.cpu_seconds()), stack_kib }.given()
    }

    /// What a run may add to the address space of its process, in MiB.
    pub(crate) fn memory_mib(&self) -> u64 {
        self.memory_mib.unwrap_or(4_096)
    }

    /// The processor time of a run.
    pub(crate) fn cpu_seconds(&self) -> u64 {
        self.cpu_seconds.unwrap_or(300)
    }

    fn stack_kib(&self) -> u64 {
        self.stack_kib.unwrap_or(2_048)
    }

    /// The stack of the thread of a run, in bytes.
    pub(crate) fn stack_bytes(&self) -> usize {
        (self.stack_kib() << 10) as usize
    }

    /// How long a run may take on the clock on the wall. A process that waits uses no processor time; and one that
    /// shares the machine gets little of it.
    pub(crate) fn wall_seconds(&self) -> u64 {
        self.cpu_seconds() * 10
    }
}
