"""How strong the tests of our own rooms are: mutation testing, with mutmut."""
