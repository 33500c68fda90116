//! The list of hosts, and how the hosts of a module are found.

use crate::host::Host;
use crate::{assemblyscript, hoot, j2cl, js_string, moonbit, wasi};
use gc_wasm::Module;

/// All hosts. A new one is a file of this crate and a line here.
pub const HOSTS: &[Host] =
    &[wasi::HOST, js_string::HOST, moonbit::HOST, hoot::HOST, j2cl::HOST, assemblyscript::HOST];

impl Host {
    /// The host with this name.
    pub fn find(name: &str) -> Option<&'static Host> {
        HOSTS.iter().find(|host| host.name == name)
    }

    /// The hosts that a module needs, by the names that it imports.
    pub fn recognised(module: &Module) -> Vec<&'static Host> {
        let claimed = |host: &&Host| module.imports().any(|import| host.claims(&import));
        HOSTS.iter().filter(claimed).collect()
    }
}
