//! What proves a collector: a mock mutator, a shadow heap, a conformance suite.
