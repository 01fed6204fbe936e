//! tributary-eventlog
