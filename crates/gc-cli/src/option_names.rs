//! The names by which errors and hints call options: those that the user wrote, which may be settings
//! of Wasmtime.

/// The names of options for which Wasmtime has other names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionNames {
    /// The collector.
    pub collector: &'static str,
    /// The amount of fuel.
    pub fuel: &'static str,
    /// The time after which the command ends.
    pub timeout: &'static str,
    /// The stack for compiled code.
    pub max_stack: &'static str,
    /// The maximum size of each linear memory.
    pub memory_max: &'static str,
    /// The initial size of the GC heap.
    pub heap_initial: &'static str,
}

impl OptionNames {
    /// The names of the command's own options.
    pub const OURS: OptionNames = OptionNames {
        collector: "--collector",
        fuel: "--fuel",
        timeout: "--timeout",
        max_stack: "--max-stack",
        memory_max: "--memory-max",
        heap_initial: "--heap-initial",
    };
}

impl Default for OptionNames {
    fn default() -> OptionNames {
        OptionNames::OURS
    }
}

/// An option with its value, as it is written: `--fuel 5`, `-W fuel=5`.
pub fn with_value(option: &str, value: &str) -> String {
    let equals = if option.starts_with("--") { ' ' } else { '=' };
    format!("{option}{equals}{value}")
}
