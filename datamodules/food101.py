"""Food-101."""

from datamodules.base import Split
from datamodules.images import DataError, reading
from datamodules.lists import check_inside, read_json, read_words
from datamodules.paths import Paths
from datamodules.photographs import Listing, Photographs


class Food101(Photographs):
    """Food-101: 75,750 training and 25,250 test images of 101 dishes.

    `root` holds `food-101/` with `images/` and `meta/`. Labels are the places of the dishes in `meta/classes.txt`.
    """

    def files(self, split: Split) -> Listing:
        folder = self.root / "food-101"
        classes = folder / "meta" / "classes.txt"
        listed = folder / "meta" / ("train.json" if split == "train" else "test.json")
        self.classes = tuple(read_words(classes))
        content = read_json(listed)
        with reading(listed):
            names = [(dish, name) for dish, names in content.items() for name in names]
            check_inside((name for _, name in names), listed)
        strange = [dish for dish, _ in names if dish not in self.classes]
        if strange:
            raise DataError(f"{listed}: {strange[0]} is not in classes.txt; unpack food-101.tar.gz again")
        images = Paths(folder / "images", (f"{name}.jpg" for _, name in names))
        return Listing(images.require("unpack food-101.tar.gz again"), [self.classes.index(dish) for dish, _ in names])
