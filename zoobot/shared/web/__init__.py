"""Asking for what lies at web addresses: politely, never led astray, and keeping what came."""
