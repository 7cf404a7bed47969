"""What the generated shop sells: kinds of products with their shelves, usual prices, attributes and options."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of product.

    Attributes:
        query: what people search for.
        noun: what a title calls it.
        category: one of the shop's five departments.
        path: its place in the shop's tree.
        price: a usual price in dollars.
        attributes: what its products can be, besides the department's.
        options: names of option lists in `OPTIONS`.
        materials: what its products are made of.
    """

    query: str
    noun: str
    category: str
    path: str
    price: float
    attributes: tuple[str, ...]
    options: tuple[str, ...]
    materials: tuple[str, ...]


OPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "color": ("color", ("black", "white", "navy", "heather grey", "burgundy", "olive green", "royal blue", "dusty rose",
                        "mustard yellow", "chocolate brown", "teal", "lavender", "coral", "charcoal", "ivory")),
    "finish": ("color", ("walnut", "rustic brown", "white oak", "espresso", "natural bamboo", "matte black", "cherry",
                         "antique white", "slate gray", "honey pine")),
    "size": ("size", ("x-small", "small", "medium", "large", "x-large", "xx-large", "3x-large")),
    "shoe": ("size", ("6", "6.5", "7", "7.5", "8", "8.5", "9", "9.5", "10", "10.5", "11", "12")),
    "width": ("special size type", ("regular", "petite", "tall", "plus")),
    "inches": ("size", ("18 inch", "24 inch", "30 inch", "36 inch", "40 inch", "48 inch", "60 inch")),
    "rug": ("size", ("2 ft x 3 ft", "3 ft x 5 ft", "4 ft x 6 ft", "5 ft x 8 ft", "8 ft x 10 ft", "2 ft x 8 ft")),
    "bed": ("size", ("twin", "full", "queen", "king", "california king")),
    "flavor": ("flavor name", ("sea salt", "dark chocolate", "honey mustard", "wild blueberry", "smoked paprika",
                               "lemon", "maple pecan", "vanilla bean", "jalapeno lime", "peanut butter",
                               "apple cinnamon")),
    "pack": ("size", ("pack of 1", "pack of 2", "pack of 3", "pack of 6", "pack of 12", "pack of 24")),
    "ounces": ("size", ("1.7 fl oz", "4 fl oz", "8 fl oz", "12 fl oz", "16 fl oz", "32 fl oz")),
    "scent": ("scent", ("lavender", "eucalyptus mint", "unscented", "coconut", "tea tree", "citrus", "sandalwood")),
    "shade": ("color", ("porcelain", "warm sand", "golden beige", "honey", "deep mocha", "rosy nude", "berry",
                        "ruby red")),
    "length": ("length", ("3 feet", "6 feet", "10 feet", "15 feet", "25 feet", "50 feet")),
    "memory": ("capacity", ("32gb", "64gb", "128gb", "256gb", "512gb", "1tb")),
    "pattern": ("pattern name", ("solid", "stripes", "plaid", "floral", "camo", "geometric")),
    "style": ("style", ("classic", "modern", "with remote", "deluxe", "starter kit", "travel set")),
}  # fmt: skip
"""Option list -> the name a page shows, and its values."""

SHARED: dict[str, tuple[str, ...]] = {
    "beauty": ("cruelty free", "paraben free", "long lasting", "sulfate free", "natural ingredients", "dry skin",
               "sensitive skin", "travel size", "fragrance free", "dermatologist tested"),
    "electronics": ("fast charging", "easy to use", "plug and play", "high speed", "wireless", "heavy duty",
                    "gold plated", "carrying case", "ultra hd", "easy install"),
    "fashion": ("machine wash", "hand wash", "long sleeve", "slim fit", "loose fit", "quick drying", "daily wear",
                "tumble dry", "everyday use", "soft lining"),
    "garden": ("easy assemble", "space saving", "easy clean", "solid wood", "steel frame", "eco friendly",
               "living room", "dining room", "mid century", "non slip"),
    "grocery": ("gluten free", "non gmo", "low sugar", "usda organic", "high protein", "keto friendly", "dairy free",
                "artificial colors", "low sodium", "resealable bag"),
}  # fmt: skip
"""Department -> attributes that any of its products can have."""

_CLOTHES, _HOME = "Clothing, Shoes & Jewelry", "Home & Kitchen"


def _kind(
    query: str, noun: str, category: str, path: str, price: float, attributes: str, options: str, materials: str
) -> Kind:
    return Kind(
        query, noun, category, path, price,
        tuple(attributes.split("|")), tuple(options.split()), tuple(materials.split("|")),
    )  # fmt: skip


_B, _E, _F, _G, _R = "beauty", "electronics", "fashion", "garden", "grocery"
_SKIN, _HAIR = "Beauty & Personal Care › Skin Care", "Beauty & Personal Care › Hair Care"
_MAKEUP = "Beauty & Personal Care › Makeup"
_MEN, _WOMEN = f"{_CLOTHES} › Men", f"{_CLOTHES} › Women"
_FOOD = "Grocery & Gourmet Food"

KINDS: tuple[Kind, ...] = (
    _kind("face moisturizer", "Face Moisturizer", _B, f"{_SKIN} › Face › Creams & Moisturizers", 19,
          "anti aging|hyaluronic acid|oil free", "ounces scent", "Hyaluronic Acid|Shea Butter|Aloe Vera"),
    _kind("body lotion", "Body Lotion", _B, f"{_SKIN} › Body › Moisturizers", 14,
          "deep hydration|coconut oil|fast absorbing", "ounces scent", "Cocoa Butter|Oatmeal|Jojoba Oil"),
    _kind("shampoo", "Shampoo", _B, f"{_HAIR} › Shampoo & Conditioner", 17,
          "damaged hair|color safe|tea tree", "ounces scent", "Argan Oil|Keratin|Rosemary"),
    _kind("hair brush", "Detangling Hair Brush", _B, f"{_HAIR} › Styling Tools › Brushes", 12,
          "hair styling|anti static|scalp massage", "shade style", "Boar Bristle|Bamboo|Nylon Bristle"),
    _kind("lipstick", "Matte Lipstick", _B, f"{_MAKEUP} › Lips › Lipstick", 11,
          "highly pigmented|easy apply|water proof", "shade", "Vitamin E|Beeswax|Rosehip"),
    _kind("makeup brush set", "Makeup Brush Set", _B, f"{_MAKEUP} › Brushes & Tools", 21,
          "synthetic hair|eye shadow|easy clean", "color style", "Vegan Fiber|Wood Handle|Rose Gold"),
    _kind("electric toothbrush", "Electric Toothbrush", _B, "Beauty & Personal Care › Oral Care › Toothbrushes", 42,
          "teeth whitening|sensitive teeth|oral hygiene", "color style", "Soft Bristle|Charcoal Bristle|Silicone"),
    _kind("nail polish", "Gel Nail Polish", _B, "Beauty & Personal Care › Foot, Hand & Nail Care › Nail Polish", 9,
          "high gloss|nail art|quick dry", "shade style", "Gel|Shellac|Glitter"),
    _kind("bluetooth headphones", "Bluetooth Headphones", _E, "Electronics › Headphones › Over-Ear Headphones", 59,
          "noise cancelling|stereo sound|hands free", "color style", "Memory Foam|Leather|Aluminum"),
    _kind("portable speaker", "Portable Speaker", _E, "Electronics › Portable Audio & Video › Speakers", 45,
          "water resistant|stereo sound|long battery life", "color style", "Mesh|Silicone|Wood"),
    _kind("hdmi cable", "HDMI Cable", _E, "Electronics › Accessories & Supplies › Video Cables", 13,
          "blu ray|1080p hd|braided cord", "length pack", "Nylon Braided|Copper|Aluminum"),
    _kind("phone case", "Phone Case", _E, "Cell Phones & Accessories › Cases › Basic Cases", 15,
          "wireless charging|tempered glass|shock absorbing", "color pattern", "Silicone|Leather|Carbon Fiber"),
    _kind("tablet", "Tablet", _E, "Electronics › Computers & Tablets › Tablets", 189,
          "quad core|high definition|parental control", "memory color", "Aluminum|Glass|Plastic"),
    _kind("security camera", "Security Camera", _E, "Electronics › Camera & Photo › Surveillance Cameras", 69,
          "motion detection|night vision|1080p hd", "style pack", "Metal|Dome|Weatherproof"),
    _kind("power bank", "Power Bank", _E, "Cell Phones & Accessories › Chargers & Power Adapters", 32,
          "usb port|compact size|led display", "color memory", "Aluminum|Rubberized|Slim"),
    _kind("tripod", "Camera Tripod", _E, "Electronics › Camera & Photo › Tripods & Monopods", 38,
          "light weight|quick release|carbon fiber", "inches color", "Aluminum|Carbon Fiber|Flexible"),
    _kind("men's dress shirt", "Men's Dress Shirt", _F, f"{_MEN} › Clothing › Shirts", 34,
          "button closure|wrinkle free|classic fit", "color size pattern", "Cotton|Linen|Oxford"),
    _kind("men's hoodie", "Men's Hoodie", _F, f"{_MEN} › Clothing › Fashion Hoodies & Sweatshirts", 39,
          "drawstring closure|fleece lined|contrast color", "color size", "Fleece|Cotton Blend|Polyester"),
    _kind("men's running shoes", "Men's Running Shoes", _F, f"{_MEN} › Shoes › Athletic", 74,
          "rubber sole|arch support|memory foam", "color shoe", "Mesh|Knit|Suede"),
    _kind("women's dress", "Women's Midi Dress", _F, f"{_WOMEN} › Clothing › Dresses", 43,
          "short sleeve|elastic waist|wash cold", "color size pattern", "Chiffon|Rayon|Cotton"),
    _kind("women's sandals", "Women's Sandals", _F, f"{_WOMEN} › Shoes › Sandals", 36,
          "open toe|ankle strap|rubber sole", "color shoe", "Leather|Cork|Suede"),
    _kind("women's leggings", "Women's Leggings", _F, f"{_WOMEN} › Clothing › Leggings", 27,
          "high waist|tummy control|four way stretch", "color size width", "Spandex|Nylon|Bamboo"),
    _kind("women's sweater", "Women's Sweater", _F, f"{_WOMEN} › Clothing › Sweaters", 41,
          "crew neck|relaxed fit|rib knit", "color size", "Wool|Cashmere|Acrylic"),
    _kind("winter jacket", "Winter Jacket", _F, f"{_MEN} › Clothing › Jackets & Coats", 98,
          "water resistant|zipper closure|faux fur", "color size", "Down|Nylon|Sherpa"),
    _kind("swimsuit", "One Piece Swimsuit", _F, f"{_WOMEN} › Clothing › Swimsuits & Cover Ups", 33,
          "tummy control|removable padding|cross back", "color size pattern", "Nylon|Lycra|Polyester"),
    _kind("console table", "Console Table", _G, f"{_HOME} › Furniture › Living Room Furniture › Tables", 129,
          "storage shelf|wood finish|adjustable feet", "finish inches", "Wood|Metal|Bamboo"),
    _kind("bookshelf", "Bookshelf", _G, f"{_HOME} › Furniture › Home Office Furniture › Bookcases", 94,
          "storage unit|open shelves|anti tip", "finish style", "Wood|Metal|Rattan"),
    _kind("area rug", "Area Rug", _G, f"{_HOME} › Home Décor › Rugs, Pads & Protectors", 72,
          "machine washable|low pile|pet friendly", "color rug pattern", "Jute|Wool|Polypropylene"),
    _kind("throw pillow covers", "Throw Pillow Covers", _G, f"{_HOME} › Bedding › Decorative Pillows", 16,
          "double sided|exquisite workmanship|hidden zipper", "color pattern pack", "Velvet|Linen|Cotton"),
    _kind("table lamp", "Table Lamp", _G, f"{_HOME} › Lighting & Ceiling Fans › Lamps & Shades", 47,
          "bronze finish|glass shade|touch control", "finish style", "Ceramic|Brass|Glass"),
    _kind("platform bed", "Platform Bed Frame", _G, f"{_HOME} › Furniture › Bedroom Furniture › Beds", 219,
          "box spring|noise free|button tufted", "finish bed", "Wood|Upholstered|Metal"),
    _kind("blackout curtains", "Blackout Curtains", _G, f"{_HOME} › Home Décor › Window Treatments", 31,
          "thermal insulated|machine washable|noise reducing", "color inches", "Velvet|Polyester|Linen"),
    _kind("office chair", "Office Chair", _G, f"{_HOME} › Furniture › Home Office Furniture › Chairs", 139,
          "lumbar support|height adjustable|high density", "color style", "Mesh|Leather|Fabric"),
    _kind("wall art", "Framed Wall Art", _G, f"{_HOME} › Home Décor › Wall Art", 37,
          "ready hang|printing technology|high resolution", "pattern inches", "Canvas|Wood|Metal"),
    _kind("granola bars", "Granola Bars", _R, f"{_FOOD} › Snack Foods › Bars", 13,
          "whole grain|nut free|individually wrapped", "flavor pack", "Oat|Almond|Quinoa"),
    _kind("ground coffee", "Ground Coffee", _R, f"{_FOOD} › Beverages › Coffee", 17,
          "medium roast|fair trade|caffeine free", "flavor ounces", "Arabica|Colombian|Sumatra"),
    _kind("herbal tea", "Herbal Tea Bags", _R, f"{_FOOD} › Beverages › Tea", 12,
          "caffeine free|loose leaf|quality ingredients", "flavor pack", "Chamomile|Rooibos|Peppermint"),
    _kind("trail mix", "Trail Mix", _R, f"{_FOOD} › Snack Foods › Nuts & Seeds", 15,
          "dry roasted|plant based|source vitamin", "flavor pack", "Cashew|Pistachio|Walnut"),
    _kind("olive oil", "Extra Virgin Olive Oil", _R, f"{_FOOD} › Pantry Staples › Cooking Oils", 22,
          "cold pressed|bpa free|first harvest", "ounces", "Greek|Spanish|Italian"),
    _kind("hot sauce", "Hot Sauce", _R, f"{_FOOD} › Pantry Staples › Sauces & Condiments", 10,
          "hand crafted|sugar free|small batch", "flavor ounces", "Habanero|Chipotle|Cayenne"),
    _kind("protein powder", "Protein Powder", _R, f"{_FOOD} › Beverages › Protein Drinks", 37,
          "grass fed|soy free|easy digest", "flavor pack", "Whey|Pea|Collagen"),
)  # fmt: skip
"""Every kind of product that can be generated."""
