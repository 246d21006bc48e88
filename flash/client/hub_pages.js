// @ts-check
/**
 * The pages that a hub carries: which of its links brings the events of each, and how far each has come.
 *
 * A hub opens a new link when it gets another page, while the one before still brings events. Both may bring the same
 * event. Each brings the events of a page in order and without a gap, and begins no later than behind the last event
 * that the hub has had of the page. So the hub passes on each event once and in order if it leaves out those that are
 * not above the last one.
 *
 * Nothing here knows of ports, connections or time: `hub.js` does. A classic script, which becomes a part of the hub's.
 */

/**
 * @typedef {{page: string, turn: number, last: string, ticket: string | null}} Announced  what a page says of itself:
 *     its token, its turn, the id of the last event that it has, and its ticket
 * @typedef {object} CarriedPage
 * @property {string} page  its token
 * @property {number} turn
 * @property {string} last  the id of the last event that was passed on; '' if none was
 * @property {string | null} ticket  for the next link
 * @property {number} link  the number of the newest link that was opened for it; 0 while none was
 * @property {boolean} standing  whether that link, or one before, brings its events
 * @property {string} life  the one that the last `hello` named
 */

/**
 * @typedef {{kind: 'event', type: string, data: string, lastEventId: string}} Passed  an event, as an EventSource
 *     brings it
 * @typedef {Passed | {kind: 'cut' | 'over' | 'refused'}} Said  what a hub says to a page: an event; the link was cut,
 *     and the hub opens another; the page's life is over; the page was refused. After the last two it is not carried
 * @typedef {{page: string, said: Said}} Delivery
 */

(function () {
    const {flash} = /** @type {any} */ (globalThis);
    const {wire} = flash;

    /** The status of an `over` for a page that has another link now, which is newer than the hub's. */
    const REPLACED = 409;
    /** The status of an `over` for a page whose life is over: a new link begins another. */
    const GONE = 410;

    class HubPages {
        /** @type {Map<string, CarriedPage>} */
        pages = new Map();
        /** The pages, by their lives. @type {Map<string, CarriedPage>} */
        lives = new Map();

        /**
         * Carry a page, from the next link on.
         * @param {Announced} announced
         */
        carry({page, turn, last, ticket}) {
            this.drop(page);
            this.pages.set(page, {page, turn, last, ticket, link: 0, standing: false, life: ''});
        }

        /**
         * Carry a page no more; says whether it was carried.
         * @param {string} page
         */
        drop(page) {
            const life = this.pages.get(page)?.life;
            if (life) {
                this.lives.delete(life);
            }
            return this.pages.delete(page);
        }

        /**
         * A link is being opened for all pages: the query of its address.
         * @param {number} link  its number, which is higher than those before
         */
        query(link) {
            const pages = [...this.pages.values()];
            const standings = pages.map(({page, turn, last}) => ['page', wire.standing(page, turn, last)]);
            const tickets = pages.flatMap(({ticket}) => (ticket === null ? [] : [['ticket', ticket]]));
            pages.forEach(each => Object.assign(each, {link, ticket: null}));
            return new URLSearchParams([...standings, ...tickets]);
        }

        /**
         * An event has come over a link: what to say to which pages.
         * @param {number} link
         * @param {{type: string, data: string, lastEventId: string}} event
         * @returns {Delivery[]}
         */
        receive(link, {type, data, lastEventId}) {
            /** @type {Passed} */
            const passed = {kind: 'event', type, data, lastEventId};
            if (type === 'hello') {
                return this.greet(link, passed);
            }
            if (type === 'over') {
                return this.end(link, passed);
            }
            if (type === 'ping') {
                const asked = wire.parse('ping', data).lives.map((/** @type {string} */ life) => this.lives.get(life));
                // An event without a number has the id of the one before it, which may be another page's.
                return asked.filter(Boolean).map((/** @type {CarriedPage} */ {page, last}) => {
                    return {page, said: {...passed, lastEventId: last}};
                });
            }
            const carried = this.lives.get(lifeOf(lastEventId));
            if (carried === undefined || !wire.follows(lastEventId, carried.last)) {
                return [];
            }
            carried.last = lastEventId;
            return [{page: carried.page, said: passed}];
        }

        /**
         * `hello`: a link brings the events of a page. The page need not know if one has brought them before.
         * @param {number} link
         * @param {Passed} passed
         * @returns {Delivery[]}
         */
        greet(link, passed) {
            const {page, life} = wire.parse('hello', passed.data);
            const carried = this.pages.get(page);
            if (carried === undefined || carried.link !== link) {
                return [];
            }
            const {standing, life: before} = carried;
            this.lives.delete(before);
            this.lives.set(life, carried);
            Object.assign(carried, {standing: true, life});
            if (lifeOf(carried.last) !== life) {
                carried.last = passed.lastEventId;
            }
            if (standing && life === before) {
                return [];
            }
            const cut = standing ? [{page, said: /** @type {Said} */ ({kind: 'cut'})}] : [];
            return [...cut, {page, said: passed}];
        }

        /**
         * `over`: a link does not carry a page, which is then carried no more. Links before the newest have no say.
         * @param {number} link
         * @param {Passed} passed
         * @returns {Delivery[]}
         */
        end(link, passed) {
            const {page, status} = wire.parse('over', passed.data);
            const carried = this.pages.get(page);
            if (carried?.link !== link) {
                return [];
            }
            this.drop(page);
            if (status === REPLACED) {
                return [{page, said: {...passed, lastEventId: carried.last}}];
            }
            return [{page, said: {kind: status === GONE ? 'over' : 'refused'}}];
        }

        /** Whether there are pages for which no link was opened. */
        hasNew() {
            return [...this.pages.values()].some(({link}) => link === 0);
        }

        /**
         * A link could not be opened: the one before goes on for the pages that it brings events of.
         * @param {number} link  the number of the one before
         * @returns {Delivery[]}  none
         */
        stay(link) {
            this.pages.forEach(carried => (carried.link = carried.standing ? link : 0));
            return [];
        }

        /**
         * A link is gone, and no other stands: the pages that it has left without one.
         * @returns {Delivery[]}
         */
        cut() {
            const left = [...this.pages.values()].filter(({standing}) => standing);
            left.forEach(carried => (carried.standing = false));
            return left.map(({page}) => ({page, said: {kind: 'cut'}}));
        }

        /**
         * The server has refused a link as a whole: the pages that no link brings events of are carried no more.
         * @returns {Delivery[]}
         */
        refuse() {
            const refused = [...this.pages.values()].filter(({standing}) => !standing);
            refused.forEach(({page}) => this.drop(page));
            return refused.map(({page}) => ({page, said: {kind: 'refused'}}));
        }
    }

    /** The life in the id of an event; '' if there is none. @param {string} id */
    function lifeOf(id) {
        return id.split('.')[0];
    }

    Object.assign(flash, {HubPages});
})();
