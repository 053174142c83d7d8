"""Closed-class words: they hold sentences together and say nothing of what these are about.

Fragments of contractions (`s`, `t`, `ll`, …) are among them, because words are cut at apostrophes. Languages that are
not here have none: inverse document frequency makes common words count little anyway.
"""

from __future__ import annotations

from typing import Final

_ENGLISH: Final = """
a an the this that these those
i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers
herself it its itself they them their theirs themselves
who whom whose which what when where why how
am is are was were be been being have has had having do does did doing will would shall should can could may might must
and or but nor if because as until while than so then
of at by for with about against between into through during before after above below to from up down in out on off
over under
again further once here there all any both each few more most other some such no not only own same too very just
s t d ll m re ve don doesn didn isn aren wasn weren hasn haven hadn won wouldn couldn shouldn
"""
_GERMAN: Final = """
der die das den dem des ein eine einen einem einer eines kein keine keinen keinem keiner
ich mich mir mein meine meinen meinem meiner du dich dir dein deine er ihn ihm sein seine sie ihr ihre ihren es wir
uns unser unsere euch euer man sich
wer wen wem wessen was wann wo warum wie welche welcher welches
bin bist ist sind seid war waren gewesen habe hast hat haben hatte hatten werde wird werden wurde wurden kann können
muss müssen soll sollen will wollen darf
und oder aber denn weil dass ob wenn als sondern
von zu zum zur mit nach bei aus in im ins an am auf für über unter vor hinter zwischen durch gegen ohne um bis
nicht auch noch nur schon sehr so da dort hier dann doch
"""
_FRENCH: Final = """
le la les l un une des du de d au aux ce cet cette ces
je j me m moi mon ma mes tu te t toi ton ta tes il elle on se s son sa ses lui nous notre nos vous votre vos ils elles
leur leurs eux y en
qui que qu quoi dont où quand comment pourquoi quel quelle quels quelles
suis es est sommes êtes sont était étaient été être ai as a avons avez ont avait avaient eu avoir
et ou mais donc or ni car si comme
à dans par pour sur sous avec sans entre vers chez depuis pendant avant après
ne n pas plus aussi très
"""
_SPANISH: Final = """
el la los las lo un una unos unas este esta estos estas ese esa esos esas
yo me mi mis mí tú te tu tus ti él ella se su sus le les nosotros nos nuestro nuestra vosotros os ellos ellas usted
ustedes
quien quién que qué cual cuál cuando cuándo donde dónde como cómo porque
soy eres es somos son era eran fue fueron ser sido estoy está están estaba estar he has ha hemos han había haber
y e o u pero sino si ni
de del a al en por para con sin sobre entre hasta desde hacia
no también más muy ya
"""
_ITALIAN: Final = """
il lo la i gli le l un uno una questo questa questi queste quello quella quelli quelle
io me mi mio mia miei mie tu te ti tuo tua lui lei si suo sua suoi sue noi ci nostro nostra voi vi vostro vostra loro
chi che cosa quale quali quando dove come perché
sono sei è siamo siete era erano stato stata essere ho hai ha abbiamo avete hanno aveva avevano avere
e ed o ma se né
di a da in con su per tra fra del dello della dei degli delle al allo alla ai agli alle dal dalla nel nella nei sul
sulla
non anche più molto già
"""
_PORTUGUESE: Final = """
o a os as um uma uns umas este esta estes estas esse essa isso isto aquele aquela
eu me mim meu minha meus minhas tu te ti teu tua ele ela se seu sua seus suas lhe nós nos nosso nossa vós vos eles elas
você vocês
quem que qual quais quando onde como porque
sou és é somos são era eram foi foram ser sido estou está estão estava estar tenho tem têm tinha ter
e ou mas se nem
de do da dos das em no na nos nas por pelo pela para com sem sobre entre até desde ao à aos às
não também mais muito já
"""
_DUTCH: Final = """
de het een deze dit die dat
ik me mij mijn je jij jou jouw hij hem zijn zij ze haar wij we ons onze jullie hun hen u uw zich
wie wat welke wanneer waar waarom hoe
ben bent is was waren geweest heb hebt heeft hebben had hadden word wordt worden werd werden kan kunnen zal zullen moet
en of maar want als omdat dan
van te in op aan met voor uit bij naar door over onder tussen tot om zonder
niet ook nog maar al er daar hier zeer
"""

STOP_WORDS: Final = {
    name: frozenset(words.split())
    for name, words in {
        "english": _ENGLISH,
        "german": _GERMAN,
        "french": _FRENCH,
        "spanish": _SPANISH,
        "italian": _ITALIAN,
        "portuguese": _PORTUGUESE,
        "dutch": _DUTCH,
    }.items()
}
"""By Snowball's name of the language."""
