//! The types of the schema, one file for what belongs together.

pub(crate) mod account;
pub(crate) mod agent;
pub(crate) mod attribution;
pub(crate) mod blob;
pub(crate) mod contribution;
pub(crate) mod datanet;
pub(crate) mod epoch;
pub(crate) mod event;
pub(crate) mod feedback;
pub(crate) mod finality;
pub(crate) mod inference;
pub(crate) mod meta;
pub(crate) mod model;
pub(crate) mod model_stats;
pub(crate) mod pathway;
pub(crate) mod policy;
pub(crate) mod proof;
pub(crate) mod reward;
pub(crate) mod search;
pub(crate) mod series;
