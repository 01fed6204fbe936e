//! tributary-bench
