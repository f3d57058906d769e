//! Operations on files as programs make them, with everything that a program can see of the result.

mod step;
mod world;

pub(crate) use step::{Step, steps};
pub(crate) use world::World;
