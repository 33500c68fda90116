//! Functions of the module and of the host.

use super::Api;
use crate::api::world::{Handle, World};
use anyhow::{Error, Result};
use gc_testkit::Token;

/// A function that the module exports.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) enum Export {
    /// Calls the host, keeps what that returns, and returns its own arguments.
    Run,
    /// Throws its argument.
    Throw,
    /// Calls the host, and returns what that returns or throws.
    Catch,
    /// Runs a loop.
    Burn,
}

impl Export {
    /// Its name.
    pub(in crate::api) fn name(self) -> &'static str {
        match self {
            Export::Run => "run",
            Export::Throw => "throw",
            Export::Catch => "catch",
            Export::Burn => "burn",
        }
    }

    /// Whether each of its results is external.
    pub(in crate::api) fn results(self) -> &'static [bool] {
        match self {
            Export::Run => &[false, true],
            Export::Catch => &[false],
            Export::Throw | Export::Burn => &[],
        }
    }
}

/// An argument of a function.
#[derive(Clone, Debug)]
pub(in crate::api) enum Argument<R> {
    Any(Option<R>),
    Extern(Option<R>),
    Number(i32),
}

/// How a call of the module ends that calls the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum How {
    Return,
    /// The module traps after the host has returned.
    Unreachable,
    /// The host fails.
    Fail,
    /// The host throws an exception, which the module catches.
    Throw,
}

impl How {
    pub(in crate::api) fn of(byte: u8) -> How {
        match byte % 8 {
            1 => How::Unreachable,
            2 => How::Fail,
            3 => How::Throw,
            _ => How::Return,
        }
    }
}

/// The text of the error with which the host fails.
pub(in crate::api) const FAILURE: &str = "a trap of the host";

/// What a function has returned, and a handle to it.
pub(in crate::api) type Identity<A> = (Option<<A as Api>::Ref>, Option<<A as Api>::Ref>);

/// What is done with functions.
pub(in crate::api) trait Functions: Api {
    /// Makes an instance of the module. The engine is there unless it was replaced.
    fn program(
        cx: &mut Self::Cx<'_>,
        engine: Option<&mut Self::Engine>,
        world: &mut World<Self>,
        slot: usize,
    ) -> Result<Self::Program>;
    fn func(cx: &mut Self::Cx<'_>, program: &Self::Program, export: Export) -> Result<Self::Func>;
    /// The arguments of a call, perhaps as raw values. Then the call must be next.
    fn arguments(
        cx: &mut Self::Cx<'_>,
        own: &Self::Own,
        arguments: Vec<Argument<Self::Ref>>,
        raw: bool,
    ) -> Result<Self::Values>;
    /// Calls a function. Its results.
    fn call(
        cx: &mut Self::Cx<'_>,
        func: &Self::Func,
        export: Export,
        arguments: Self::Values,
    ) -> Result<Self::Values, Self::Failure>;
    /// The results of the call that has just returned. `None` if raw ones cannot be read any more.
    fn results(
        cx: &mut Self::Cx<'_>,
        own: &Self::Own,
        export: Export,
        results: Self::Values,
    ) -> Result<Option<Vec<Option<Self::Ref>>>>;
    /// Runs the loop. How often it has turned.
    fn burn(cx: &mut Self::Cx<'_>, program: &Self::Program) -> Result<i32, Self::Failure>;
    fn error(failure: Self::Failure) -> Error;
    fn is_out_of_fuel(failure: &Self::Failure) -> bool;
    /// Checks how a call has failed that had to fail in this way.
    fn check_failure(
        cx: &mut Self::Cx<'_>,
        world: &mut World<Self>,
        failure: Self::Failure,
        how: How,
    ) -> Result<()>;
    /// The payload of the exception that a call has thrown.
    fn thrown(
        cx: &mut Self::Cx<'_>,
        world: &mut World<Self>,
        failure: Self::Failure,
    ) -> Result<Option<Self::Ref>>;
    /// Ends the host's function. Notes in the world whether it returns.
    fn reply(
        cx: &mut Self::Cx<'_>,
        world: &mut World<Self>,
        how: How,
        value: Handle<Self>,
    ) -> Result<Self::Reply>;
    /// What the program keeps.
    fn kept(cx: &mut Self::Cx<'_>, program: &Self::Program) -> Result<Option<Self::Ref>>;
    /// Makes a function of the host that has a token and returns its argument. Calls it, and returns what it
    /// returned, and a handle to it if there can be one.
    fn identity(
        cx: &mut Self::Cx<'_>,
        own: &Self::Own,
        token: Token,
        argument: Option<&Self::Ref>,
        raw: bool,
    ) -> Result<Identity<Self>>;
    /// Makes another instance of the module.
    fn again(cx: &mut Self::Cx<'_>, world: &mut World<Self>, how: u8) -> Result<()>;
    /// A handle to something that is not in the heap.
    fn thing(_: &mut Self::Cx<'_>, _: &World<Self>, _what: u8) -> Result<Option<Self::Ref>> {
        Ok(None)
    }
}
