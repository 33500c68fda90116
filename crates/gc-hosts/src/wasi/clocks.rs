//! Clocks. Their times are those of the system's clocks.

use super::context::WasiCtx;
use super::errno::Errno;
use super::memory::GuestMemory;
use super::types::timestamp;
use rustix::time::{ClockId, clock_getres, clock_gettime};

/// The system's clock with this number.
pub(super) fn clock(id: u32) -> Result<ClockId, Errno> {
    Ok(match id {
        0 => ClockId::Realtime,
        1 => ClockId::Monotonic,
        2 => ClockId::ProcessCPUTime,
        3 => ClockId::ThreadCPUTime,
        _ => return Err(Errno::Inval),
    })
}

/// The time of a clock, in nanoseconds.
pub(super) fn now(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    timestamp(time.tv_sec, time.tv_nsec as i64)
}

impl WasiCtx {
    pub(super) fn clock_res_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        id: u32,
        out: u32,
    ) -> Result<(), Errno> {
        let resolution = clock_getres(clock(id)?);
        memory.write_u64(out, timestamp(resolution.tv_sec, resolution.tv_nsec as i64))
    }

    pub(super) fn clock_time_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        id: u32,
        _precision: u64,
        out: u32,
    ) -> Result<(), Errno> {
        memory.write_u64(out, now(clock(id)?))
    }
}
