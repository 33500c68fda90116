//! Calls that use a memory.

use super::host::{Data, MEMORY_LIMIT};
use super::ops::Op;
use super::world::World;
use anyhow::{Context as _, Result, ensure};
use gc_wasm::{Memory, MemoryType, StoreContextMut};

const PAGE: usize = 1 << 16;

/// An address. Some are around the end of a memory of this many bytes.
fn address(byte: u8, len: usize) -> usize {
    match byte {
        0x80.. => len + usize::from(byte % 16) - 8,
        _ => usize::from(byte) * 100,
    }
}

/// Makes a call with the memory of a store. The first one makes the memory.
pub(super) fn memory_call(
    world: &mut World,
    mut store: StoreContextMut<'_, Data>,
    op: Op,
) -> Result<()> {
    if world.memory.is_none() {
        let memory = Memory::new(&mut store, MemoryType::new(1, Some(20)))?;
        world.memory = Some((memory, vec![0; PAGE]));
    }
    let (memory, bytes) = world.memory.as_mut().context("there is one")?;
    ensure!(memory.data_size(&store) == bytes.len(), "{} bytes", memory.data_size(&store));
    match op {
        Op::MemoryGrow { pages } => {
            let pages = usize::from(pages % 4);
            let new = bytes.len() + pages * PAGE;
            match memory.grow(&mut store, pages as u64) {
                Ok(old) => {
                    ensure!(new <= MEMORY_LIMIT, "a memory of {new} bytes");
                    ensure!(old as usize * PAGE == bytes.len(), "{old} pages before");
                    bytes.resize(new, 0);
                }
                Err(error) if new <= MEMORY_LIMIT => return Err(error),
                Err(error) => {
                    ensure!(format!("{error:#}").contains("failed to grow memory by"), "{error:#}");
                }
            }
        }
        Op::MemoryWrite { at, value } => {
            let at = address(at, bytes.len());
            let written = memory.write(&mut store, at, &[value; 3]).is_ok();
            let expected = bytes.get_mut(at..at + 3).map(|bytes| bytes.fill(value));
            ensure!(written == expected.is_some(), "three bytes were written at {at}: {written}");
        }
        Op::MemoryRead { at } => {
            let (at, mut read) = (address(at, bytes.len()), [0; 5]);
            let result = memory.read(&store, at, &mut read).map(|()| &read[..]);
            ensure!(result.ok() == bytes.get(at..at + 5), "{read:?} was read at {at}");
        }
        _ => {}
    }
    Ok(())
}
