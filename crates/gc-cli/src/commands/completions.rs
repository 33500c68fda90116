//! `reclaim completions`: prints a completion script for a shell.

use crate::registry::Registry;
use anyhow::Result;
use clap::Args;
use clap_complete::Shell;
use std::io::Write;

/// Arguments of `reclaim completions`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  reclaim completions bash > ~/.local/share/bash-completion/completions/reclaim
  reclaim completions fish > ~/.config/fish/completions/reclaim.fish
  reclaim completions zsh > ~/.zfunc/_reclaim")]
pub struct CompletionsArgs {
    /// The shell.
    pub shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// If it cannot be printed.
pub fn execute(args: &CompletionsArgs, registry: &Registry) -> Result<()> {
    let mut script = Vec::new();
    let name = registry.command_name();
    clap_complete::generate(args.shell, &mut crate::grammar(registry), name, &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(())
}
