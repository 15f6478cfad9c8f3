import unittest

from durations import parse, spell


class KnownUnits(unittest.TestCase):
    def test_one_unit(self):
        self.assertEqual(parse("90s"), 90)
        self.assertEqual(parse("15 m"), 900)

    def test_several_units(self):
        self.assertEqual(parse("1h30m"), 5400)

    def test_spelling(self):
        self.assertEqual(spell(5400), "1h30m")
        self.assertEqual(spell(0), "0s")


class UnknownText(unittest.TestCase):
    def test_a_unit_that_does_not_exist(self):
        with self.assertRaisesRegex(ValueError, "3 fortnights"):
            parse("3 fortnights")

    def test_something_after_a_good_part(self):
        with self.assertRaisesRegex(ValueError, "1h and a bit"):
            parse("1h and a bit")

    def test_nothing(self):
        with self.assertRaises(ValueError):
            parse("  ")


class Days(unittest.TestCase):
    def test_days(self):
        self.assertEqual(parse("2d 3h"), 2 * 86400 + 3 * 3600)
        self.assertEqual(spell(90000), "1d1h")


if __name__ == "__main__":
    unittest.main()
