"""Configurations in the vendor's form, made and read without the vendor's driver."""
