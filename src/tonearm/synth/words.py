"""Words to name made-up genres, artists, albums and tracks with."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# The first ones are the largest; those from podcasts to fairytales are spoken, not sung.
GENRES = _words(
    """pop rap allrock electronics metal rusrap dance podcasts alternative indie ruspop audiobooks punk jazz
    classical soundtrack folk house techno rnb hardrock fairytales local-indie soul trance estrada rusrock
    shanson bard reggae blues dnb dubstep ambient lounge newage country latin disco funk chanson foreignrap
    foreignbard relax children meditation videogame films musical tvseries industrial newwave postpunk
    progmetal deathmetal blackmetal thrash numetal hardcore metalcore posthardcore stonerrock folkmetal
    gothicmetal classicmetal epicmetal extrememetal postrock prog rockabilly rnr ukrrock folkrock grunge
    shoegaze dreampop synthpop electropop kpop japanesepop arabic turkish armenian georgian azerbaijani tatar
    bashkir caucasian celtic balkan eurofolk african indian amerfolk jewish eastern argentinetango
    sertanejo reggaeton salsa bachata bossanova samba fado flamenco klezmer gospel spirituals ska dub
    dancehall grime trap phonk lofi triphop breakbeat jungle garage edm electro idm glitch noise drone
    minimal deephouse techhouse progressivehouse psytrance hardstyle gabber chiptune vaporwave synthwave
    darkwave ebm neofolk medieval baroque opera choral symphony chamber piano vocaljazz bebop swing
    bigband fusion smoothjazz conjazz tradjazz acidjazz sport holiday newyear naturesounds
    asmr poetry comedy radioplay lectures folkgenre spoken marches anthems modern experimental"""
)
SPOKEN = frozenset({"podcasts", "audiobooks", "fairytales", "radioplay", "lectures", "poetry", "comedy"})
CYRILLIC = frozenset({"rusrap", "ruspop", "rusrock", "shanson", "bard", "estrada", "local-indie", "fairytales"})

FIRST_NAMES = _words(
    """Ada Boris Clara Dmitri Elsa Felix Greta Hugo Irina Jonas Kira Leo Mira Nils Olga Pavel Rosa Stefan Tara
    Ulf Vera Willem Xenia Yann Zoya Anton Bella Cyril Dora Emil Frida Gleb Hanna Ivan Julia Karl Lena Marco
    Nina Oskar Polina Quentin Rita Sergei Tess Uma Viktor Wanda Yulia Zeno"""
)
SURNAME_STARTS = _words(
    "Kar Mel Bor Van Sol Ost Lind Ros Tar Win Hal Fen Mor Dal Gar Ber Nor Sil Vol Ren Lam Dov Pel Zar"
)
SURNAME_MIDDLES = _words("el an or im us ad en ov ist ar al eb om ur in os ev ak il un ot em as ir")
SURNAME_ENDS = _words("in sky berg er ova son man sen ström ez elli ian ko escu wood ley")
ENSEMBLES = ("Band", "Quartet", "Project", "Orchestra", "Sound System", "Trio", "Collective", "Choir")

ADJECTIVES = _words(
    """Silent Golden Broken Electric Distant Hollow Scarlet Midnight Frozen Paper Velvet Burning Gentle Wild
    Lonely Crystal Hidden Restless Faded Sacred Neon Northern Bitter Sudden Wooden Secret Infinite Tender Rusty
    Amber Violent Quiet Lucky Lost Empty Heavy Crooked Bright Slow Final Winter Summer Savage Honest Blind
    Copper Little Open Second Early Late Strange Sweet Plain Sunken Iron Pale Foreign Local Modern"""
)
NOUNS = _words(
    """River Mirror Garden Signal Harbour Engine Shadow Letter Station Ocean Window Bridge Fire Mountain Train
    Heart Circle Lantern Desert Compass Satellite Tower Forest Highway Island Canyon Ghost Promise Thunder
    Pocket Feather Anchor Balcony Carousel Diamond Echo Festival Glacier Horizon Ink Journey Kingdom Ladder
    Machine Notebook Orchard Parade Question Radio Saloon Telescope Umbrella Valley Whisper Yard Zeppelin
    Avenue Border Candle Dream Elevator Fountain Gate Hotel Iceberg Jungle Kite Lake Meadow Needle Oak Planet
    Quarry Rain Sail Temple Uniform Village Wheel Wolf Sparrow Tiger Raven Stone Glass Smoke Dust Salt Snow
    Storm Sky Moon Star Sun Night Morning Evening"""
)
PLACES = ("Town", "Space", "Blue", "Colour", "Berlin", "Paris", "the City", "the Dark", "the Rain", "May")
PLACES_TOO = ("October", "Moscow", "Tbilisi", "Lisbon", "the North", "the Attic", "Motion", "Stereo", "Time", "Mono")
JOINS = ("in", "from", "over", "beyond", "before", "without")
COMMON_ALBUMS = ("Greatest Hits", "Singles", "Live", "The Best", "Demo", "Лучшее", "Избранное")
COMMON_TRACKS = ("Intro", "Outro", "Interlude", "Home", "Tonight", "You", "Снег", "Дом")

CYRILLIC_ADJECTIVES = _words(
    """Тихий Белый Ночной Последний Северный Дальний Рыжий Пустой Синий Новый Старый Медленный Первый Чужой
    Холодный Весёлый Хрупкий Зимний Летний Ранний"""
)
CYRILLIC_NOUNS = _words(
    """город вечер снег поезд берег ветер дождь голос мост рассвет двор океан апрель февраль свет путь дом
    огонь вокзал сон трамвай остров камень лес круг"""
)
CYRILLIC_FIRST_NAMES = _words(
    "Аня Борис Вера Глеб Дина Егор Женя Зоя Илья Катя Лев Марк Ника Олег Рита Саша Тимур Ульяна Фёдор Юля"
)
CYRILLIC_SURNAMES = _words(
    """Соколова Орлов Зимин Лужин Белова Карелин Ветров Морская Дальний Снегирёв Полянская Рощин Громова
    Тихонов Ясная Клёнов Северина Ручьёв Заречная Лапин"""
)
RIGHT_TO_LEFT_ARTIST = "ليلى القمر"
RIGHT_TO_LEFT_TRACK = "نجوم الليل"
