pub mod command;
pub mod row;
pub mod view;
